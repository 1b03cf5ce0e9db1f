package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"dyno/bench/cell"
	"dyno/bench/peers/natspeer"
	"dyno/bench/raftcell"
)

// systems are the logs this program can drive.
var systems = map[string]cell.System{"etcd-wal": etcdWAL, "raft-wal": raftWAL}

// modules names the module of each peer, for versions.
var modules = map[string]string{"etcd-wal": "go.etcd.io/etcd/server/v3", "raft-wal": "github.com/hashicorp/raft-wal",
	"nats": "github.com/nats-io/nats-server/v2", "nats-client": "github.com/nats-io/nats.go",
	"raft": "go.etcd.io/raft/v3"}

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "versions":
		err = printVersions()
	case len(os.Args) == 2 && os.Args[1] == "child":
		err = serve(ctx)
	case len(os.Args) == 2 && os.Args[1] == natspeer.ServerArg:
		err = natsServer(ctx)
	case len(os.Args) >= 2 && os.Args[1] == "nats":
		return runNats(ctx, os.Args[2:], os.Stdout, os.Stderr)
	default:
		fmt.Fprintln(os.Stderr, "dyno-peers is run by dyno: `dyno experiment replication`; or try `dyno-peers versions`, `dyno-peers nats --help`")
		return 64
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "dyno-peers:", err)
		return 69
	}
	return 0
}

func serve(ctx context.Context) error {
	in, err := cell.Stdin()
	if err != nil {
		return err
	}
	return cell.Serve(ctx, in, os.Stdout, map[string]cell.Work{"append": cell.Appending(systems), "nats": natsWork,
		raftcell.Work: raftcell.Measure})
}

func printVersions() error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return fmt.Errorf("the program carries no build information")
	}
	versions := map[string]string{}
	for name, module := range modules {
		for _, dep := range info.Deps {
			if dep.Path == module {
				versions[name] = dep.Version
			}
		}
	}
	return json.NewEncoder(os.Stdout).Encode(versions)
}
