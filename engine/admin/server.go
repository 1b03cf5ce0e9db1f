package admin

import (
	"context"
	"encoding/json"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Node answers requests of other nodes. Its methods are called concurrently; ctx
// ends with the caller's patience. An error that is no *Error is told as Failed.
type Node interface {
	Hello(ctx context.Context, h Hello) (Welcome, error)
	Rejoin(ctx context.Context, r Rejoin) (Rejoined, error)
	Change(ctx context.Context, c Change) (Changed, error)
	Elect(ctx context.Context, e Elect) error
}

const service = "dyno.Admin"

// reply is what goes back: a body or an error.
type reply struct {
	Body  json.RawMessage `json:"body,omitempty"`
	Error *Error          `json:"error,omitempty"`
}

// Register adds the service to s.
func Register(s *grpc.Server, n Node) {
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: service,
		HandlerType: (*Node)(nil),
		Methods: []grpc.MethodDesc{
			method("Hello", Node.Hello),
			method("Rejoin", Node.Rejoin),
			method("Change", Node.Change),
			method("Elect", func(n Node, ctx context.Context, e Elect) (struct{}, error) { return struct{}{}, n.Elect(ctx, e) }),
		},
	}, n)
}

// method makes a unary method of JSON bodies out of f.
func method[Req, Res any](name string, f func(Node, context.Context, Req) (Res, error)) grpc.MethodDesc {
	return grpc.MethodDesc{
		MethodName: name,
		Handler: func(srv any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var in wrapperspb.BytesValue
			if err := dec(&in); err != nil {
				return nil, err
			}
			var req Req
			if err := json.Unmarshal(in.Value, &req); err != nil {
				return nil, status.Errorf(codes.InvalidArgument, "%s: %v", name, err)
			}
			res, err := f(srv.(Node), ctx, req)
			return pack(res, err)
		},
	}
}

func pack(res any, err error) (*wrapperspb.BytesValue, error) {
	var r reply
	if err != nil {
		var told *Error
		if !errors.As(err, &told) {
			told = &Error{Kind: Failed, Text: err.Error()}
		}
		r.Error = told
	} else if r.Body, err = json.Marshal(res); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	b, err := json.Marshal(r)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return wrapperspb.Bytes(b), nil
}
