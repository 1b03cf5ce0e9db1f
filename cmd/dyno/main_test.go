package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"testing"
)

// What a command says to a pipe that nobody reads ends it in order.
func TestClosedPipeEndsTheCommand(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	p := &pipeEnd{w, stop}
	if _, err := p.Write([]byte("read")); err != nil || ctx.Err() != nil {
		t.Fatalf("an open pipe: %v, %v", err, ctx.Err())
	}
	r.Close()
	if _, err := p.Write([]byte("unread")); !errors.Is(err, syscall.EPIPE) || ctx.Err() == nil {
		t.Errorf("a closed pipe: %v, %v", err, ctx.Err())
	}
}

func TestHangUpEndsUnlessSetAside(t *testing.T) {
	if !signal.Ignored(syscall.SIGHUP) && !slices.Contains(endings(), os.Signal(syscall.SIGHUP)) {
		t.Error("a hang-up ends nothing")
	}
	signal.Ignore(syscall.SIGHUP)
	defer signal.Reset(syscall.SIGHUP)
	if slices.Contains(endings(), os.Signal(syscall.SIGHUP)) {
		t.Error("a hang-up that was set aside ends the command")
	}
}
