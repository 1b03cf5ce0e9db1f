package admin

import (
	"context"
	"errors"
	"net"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"dyno/engine/ids"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake answers as it is told.
type fake struct {
	hello  func(Hello) (Welcome, error)
	change func(context.Context, Change) (Changed, error)
}

func (f fake) Elect(_ context.Context, e Elect) error {
	if e == (Elect{Topic: "t", Partition: 3}) {
		return nil
	}
	return &Error{Kind: Unknown, Text: "no topic " + e.Topic}
}

func (f fake) Rejoin(_ context.Context, r Rejoin) (Rejoined, error) {
	if r.Old == "" {
		return Rejoined{}, &Error{Kind: Refused, Code: 14, Text: "not fenced"}
	}
	return Rejoined{Index: 9, Members: []Member{{Node: r.Node, Replica: 4}}, Initial: []Member{{Node: r.Node, Replica: 3}}}, nil
}

func (f fake) Hello(_ context.Context, h Hello) (Welcome, error)     { return f.hello(h) }
func (f fake) Change(ctx context.Context, c Change) (Changed, error) { return f.change(ctx, c) }

// pair serves f as node 7 and gives a client that knows its address.
func pair(t *testing.T, f fake) *Client {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	Register(s, f)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c := NewClient(ClientConfig{Addr: func(n ids.NodeID) (string, bool) { return l.Addr().String(), n == 7 }})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestCalls(t *testing.T) {
	c := pair(t, fake{
		hello: func(h Hello) (Welcome, error) {
			if h != (Hello{Cluster: "lab", Node: 3, Directory: "d"}) {
				t.Errorf("heard %+v", h)
			}
			return Welcome{Node: 7, State: Met, Directory: "other"}, nil
		},
		change: func(_ context.Context, c Change) (Changed, error) {
			switch string(c.Record) {
			case "led elsewhere":
				return Changed{}, &Error{Kind: NotLeader, Leader: 2, Text: "node 7 does not lead"}
			case "broken":
				return Changed{}, errors.New("broken")
			}
			return Changed{Index: 41, First: 1000}, nil
		},
	})
	ctx := t.Context()
	if w, err := c.Hello(ctx, 7, Hello{Cluster: "lab", Node: 3, Directory: "d"}); err != nil || w != (Welcome{Node: 7, State: Met, Directory: "other"}) {
		t.Errorf("%+v, %v", w, err)
	}
	if res, err := c.Change(ctx, 7, Change{Record: []byte("x")}); err != nil || res != (Changed{Index: 41, First: 1000}) {
		t.Errorf("%+v, %v", res, err)
	}
	var told *Error
	if _, err := c.Change(ctx, 7, Change{Record: []byte("led elsewhere")}); !errors.As(err, &told) || told.Kind != NotLeader || told.Leader != 2 {
		t.Errorf("%v", err)
	}
	if _, err := c.Change(ctx, 7, Change{Record: []byte("broken")}); !errors.As(err, &told) || told.Kind != Failed || told.Text != "broken" {
		t.Errorf("%v", err)
	}
	if err := c.Elect(ctx, 7, Elect{Topic: "t", Partition: 3}); err != nil {
		t.Error(err)
	}
	if err := c.Elect(ctx, 7, Elect{Topic: "u"}); !errors.As(err, &told) || told.Kind != Unknown {
		t.Errorf("%v", err)
	}
	if r, err := c.Rejoin(ctx, 7, Rejoin{Node: 3, Old: "d"}); err != nil || r.Index != 9 || r.Members[0] != (Member{3, 4}) || r.Initial[0] != (Member{3, 3}) {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := c.Rejoin(ctx, 7, Rejoin{Node: 3}); !errors.As(err, &told) || told.Kind != Refused || told.Code != 14 {
		t.Errorf("%v", err)
	}
	if _, err := c.Hello(ctx, 8, Hello{}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("an unknown node: %v", err)
	}
}

// TestPatience: a node that does not answer costs the caller its own patience
// only, and leaves the outcome open.
func TestPatience(t *testing.T) {
	asked := make(chan struct{})
	c := pair(t, fake{change: func(ctx context.Context, _ Change) (Changed, error) {
		close(asked)
		<-ctx.Done()
		return Changed{}, ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := c.Change(ctx, 7, Change{}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Change(t.Context(), 7, Change{}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
