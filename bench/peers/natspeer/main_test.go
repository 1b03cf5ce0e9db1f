package natspeer

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"dyno/bench/cell"

	"go.uber.org/goleak"
)

// The test binary plays the program: started with ServerArg it is a server.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == ServerArg {
		if err := playServer(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func playServer() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	in, err := cell.Stdin()
	if err != nil {
		return err
	}
	return ServeNode(ctx, in, os.Stdout, os.Stderr)
}
