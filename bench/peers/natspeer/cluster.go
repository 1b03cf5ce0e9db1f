package natspeer

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// cluster is three servers, each a process, that know a leader of JetStream's
// metadata. Nobody but this run knows its password.
type cluster struct {
	nodes    []*process
	ready    []nodeReady
	password string
}

const (
	startTries = 3
	user       = "dyno"
	stopGrace  = 10 * time.Second
	dialWait   = 5 * time.Second
)

// startCluster starts three servers with their data below dir and waits until
// they form a cluster. Routes must be configured before anybody listens, so a
// port found free may be taken meanwhile; then it tries again. Error: ErrStart.
func startCluster(ctx context.Context, cfg *Config) (c *cluster, err error) {
	for range startTries {
		c = &cluster{password: rand.Text()}
		if err = c.start(ctx, cfg); err == nil {
			return c, nil
		}
		err = errors.Join(err, c.stop(0))
		if !errors.Is(err, errPortTaken) {
			break
		}
	}
	return nil, err
}

func (c *cluster) start(ctx context.Context, cfg *Config) error {
	ports, err := freePorts(serverCount)
	if err != nil {
		return fmt.Errorf("%w: %v", ErrStart, err)
	}
	for i := range serverCount {
		spec, err := c.spec(cfg, i, ports)
		if err != nil {
			return err
		}
		p, err := launch(cfg.Server, nodeName(i), spec)
		if err != nil {
			return err
		}
		c.nodes = append(c.nodes, p)
	}
	for _, p := range c.nodes {
		r, err := p.await(ctx)
		if err != nil {
			return err
		}
		c.ready = append(c.ready, r)
	}
	return nil
}

// nodeName is the name of server i.
func nodeName(i int) string { return fmt.Sprintf("n%d", i+1) }

// spec configures server i: loopback only, a password for clients and routes.
func (c *cluster) spec(cfg *Config, i int, ports []int) (*nodeSpec, error) {
	auth := credentials{User: user, Password: c.password}
	conf := nodeConfig{
		Name: nodeName(i), Listen: "127.0.0.1:-1", Authorization: auth,
		JetStream: storeConfig{Dir: filepath.Join(cfg.Dir, nodeName(i))},
		Cluster:   routeConfig{Name: "dyno-peer", Listen: loopback(ports[i]), Authorization: auth},
	}
	if cfg.Sync == SyncAlways {
		conf.JetStream.Sync = "always"
	}
	for j, port := range ports {
		if j != i {
			conf.Cluster.Routes = append(conf.Cluster.Routes, fmt.Sprintf("nats-route://%s:%s@%s", user, c.password, loopback(port)))
		}
	}
	raw, err := json.Marshal(conf)
	if err != nil {
		return nil, fmt.Errorf("encode server configuration: %w", err)
	}
	spec := &nodeSpec{Config: raw}
	if !cfg.Keep {
		spec.Orphan = conf.JetStream.Dir
		if cfg.made {
			spec.OrphanRoot = cfg.Dir
		}
	}
	return spec, nil
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// freePorts finds n ports of loopback nobody listens on.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, lerr := net.Listen("tcp", "127.0.0.1:0")
		if lerr != nil {
			return nil, errors.Join(fmt.Errorf("find a free port: %w", lerr), err)
		}
		defer func() { err = errors.Join(err, l.Close()) }() // all held until all are found: no port twice
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// await waits for the server's line.
func (p *process) await(ctx context.Context) (r nodeReady, err error) {
	timer := time.NewTimer(readyWait + dialWait)
	defer timer.Stop()
	select {
	case r, ok := <-p.said:
		switch {
		case !ok:
			<-p.exited
			return r, fmt.Errorf("%w: server %s ended (%v); %s", ErrStart, p.name, p.err, p.lastWords())
		case r.Taken:
			return r, fmt.Errorf("%w: %w: server %s: %s", ErrStart, errPortTaken, p.name, r.Error)
		case r.Error != "":
			return r, fmt.Errorf("%w: server %s: %s; %s", ErrStart, p.name, r.Error, p.lastWords())
		}
		return r, nil
	case <-timer.C:
		return r, fmt.Errorf("%w: server %s said nothing within %v; %s", ErrStart, p.name, readyWait+dialWait, p.lastWords())
	case <-ctx.Done():
		return r, context.Cause(ctx)
	}
}

// stop ends all servers at once and waits for them. A grace of 0 kills. Idempotent.
func (c *cluster) stop(grace time.Duration) error {
	errs := make([]error, len(c.nodes))
	var wg sync.WaitGroup
	for i, p := range c.nodes {
		wg.Go(func() { errs[i] = p.stop(grace) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// whileUp runs work with a context that ends as soon as a server does, so that
// nobody waits for answers of the dead. It joins its goroutines.
func (c *cluster) whileUp(ctx context.Context, work func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	over := make(chan struct{})
	var wg sync.WaitGroup
	for _, p := range c.nodes {
		wg.Go(func() {
			select {
			case <-p.exited:
				cancel(fmt.Errorf("%w: server %s (%v); %s", ErrServerEnded, p.name, p.err, p.lastWords()))
			case <-over:
			}
		})
	}
	err := work(ctx)
	close(over)
	wg.Wait()
	cancel(nil)
	return err
}

// dial connects a client to server i. A lost connection is not mended: the run
// would measure something else from then on.
func (c *cluster) dial(i int, name string) (*nats.Conn, error) {
	conn, err := nats.Connect("nats://"+c.ready[i].Client, nats.Name(name), nats.UserInfo(user, c.password), nats.Timeout(dialWait),
		nats.NoReconnect(), nats.IgnoreDiscoveredServers(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		return nil, fmt.Errorf("connect %s to server %s: %w", name, nodeName(i), err)
	}
	return conn, nil
}

// use samples all servers.
func (c *cluster) use() (all []serverUse, err error) {
	for _, p := range c.nodes {
		u, err := p.use()
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}
