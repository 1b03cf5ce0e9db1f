package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"dyno/engine/ids"
)

// ClientConfig says how peers are reached. Dial may speak TLS.
type ClientConfig struct {
	// Addr is the address book, asked at each call; it must not block.
	Addr func(ids.NodeID) (addr string, ok bool)
	Dial func(ctx context.Context, addr string) (net.Conn, error) // a plain TCP connection
}

// Client asks other nodes. Safe for concurrent use. It keeps one connection to
// each address it was asked to reach.
type Client struct {
	cfg ClientConfig

	mu     sync.Mutex // guards what follows; not held while anything is asked
	conns  map[string]*grpc.ClientConn
	closed bool
}

// NewClient makes a client without connections.
func NewClient(cfg ClientConfig) *Client {
	if cfg.Dial == nil {
		cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		}
	}
	return &Client{cfg: cfg, conns: map[string]*grpc.ClientConn{}}
}

// Close ends all connections; calls under way fail. Idempotent.
func (c *Client) Close() error {
	c.mu.Lock()
	conns := c.conns
	c.conns, c.closed = nil, true
	c.mu.Unlock()
	var first error
	for _, conn := range conns {
		if err := conn.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Hello greets a node.
func (c *Client) Hello(ctx context.Context, to ids.NodeID, h Hello) (Welcome, error) {
	return ask[Welcome](ctx, c, to, "Hello", h)
}

// Rejoin asks a node to have the cluster take back the one that asks; it returns
// when a majority has, or may return earlier with the outcome open.
func (c *Client) Rejoin(ctx context.Context, to ids.NodeID, r Rejoin) (Rejoined, error) {
	return ask[Rejoined](ctx, c, to, "Rejoin", r)
}

// Change forwards a record to the node that is believed to lead the metadata.
func (c *Client) Change(ctx context.Context, to ids.NodeID, r Change) (Changed, error) {
	return ask[Changed](ctx, c, to, "Change", r)
}

// Elect asks a node that holds a replica of a partition to make the preferred one
// lead; it returns when that is so.
func (c *Client) Elect(ctx context.Context, to ids.NodeID, e Elect) error {
	_, err := ask[struct{}](ctx, c, to, "Elect", e)
	return err
}

// ask makes one call and waits for its answer or the end of ctx. Errors: *Error
// as the node answered, or ErrUnreachable.
func ask[Res any](ctx context.Context, c *Client, to ids.NodeID, name string, req any) (Res, error) {
	var res Res
	conn, err := c.conn(to)
	if err != nil {
		return res, err
	}
	body, err := json.Marshal(req)
	if err != nil {
		return res, fmt.Errorf("%s to node %d: %w", name, to, err)
	}
	var out wrapperspb.BytesValue
	if err := conn.Invoke(ctx, "/"+service+"/"+name, wrapperspb.Bytes(body), &out); err != nil {
		return res, fmt.Errorf("%s to node %d: %w: %w", name, to, ErrUnreachable, err)
	}
	var r reply
	if err := json.Unmarshal(out.Value, &r); err != nil {
		return res, fmt.Errorf("%s to node %d: %w: its answer: %w", name, to, ErrUnreachable, err)
	}
	if r.Error != nil {
		return res, fmt.Errorf("%s to node %d: %w", name, to, r.Error)
	}
	if err := json.Unmarshal(r.Body, &res); err != nil {
		return res, fmt.Errorf("%s to node %d: %w: its answer: %w", name, to, ErrUnreachable, err)
	}
	return res, nil
}

func (c *Client) conn(to ids.NodeID) (*grpc.ClientConn, error) {
	addr, ok := c.cfg.Addr(to)
	if !ok {
		return nil, fmt.Errorf("%w: no address of node %d", ErrUnreachable, to)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if conn := c.conns[addr]; conn != nil {
		return conn, nil
	}
	retry := backoff.DefaultConfig
	retry.BaseDelay, retry.MaxDelay = 50*time.Millisecond, time.Second
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // Dial speaks TLS where it is asked for
		grpc.WithContextDialer(c.cfg.Dial),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: time.Second}))
	if err != nil {
		return nil, fmt.Errorf("%w: node %d at %s: %w", ErrUnreachable, to, addr, err)
	}
	c.conns[addr] = conn
	return conn, nil
}
