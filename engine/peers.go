package engine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc"

	"dyno/engine/admin"
	"dyno/engine/gossip"
	"dyno/engine/ids"
	"dyno/engine/transport"
	grpctransport "dyno/engine/transport/grpc"
	"dyno/engine/transport/tcp"
)

// Peer is a node of the cluster as a configuration names it.
type Peer struct {
	Node ids.NodeID
	Raft string // host:port
}

// peers is this node's end of what connects it to the others: one port, on which
// Raft's messages come as frames or as streams of gRPC, gossip as frames, and
// everything else as gRPC.
type peers struct {
	node   *Node
	mux    *portMux
	gossip *gossip.Gossip
	raft   transport.Transport
	stats  func() tcp.Stats // of raft
	rpc    *grpc.Server
	served chan struct{} // closed when rpc's accept loop ended
	client *admin.Client
}

// openPeers opens the port for peers. A node whose configuration names no
// others has none.
func (n *Node) openPeers() error {
	if len(n.cfg.Peers) == 0 {
		return nil
	}
	l, err := net.Listen("tcp", n.cfg.RaftAddr)
	if err != nil {
		return fmt.Errorf("listen for peers: %w", err)
	}
	if n.cfg.PeerTLS != nil {
		l = tls.NewListener(l, n.cfg.PeerTLS)
	}
	p := &peers{node: n, served: make(chan struct{})}
	n.peers = p
	if n.cfg.PeerTransport == TransportTCP {
		err = p.overFrames(l)
	} else {
		err = p.overGRPC(l)
	}
	n.onClose(p.mux.Close)
	if err != nil {
		return fmt.Errorf("start the transport: %w", err)
	}
	// It is closed after Raft's connections: while this node says farewell the others
	// have seen them end, and elect.
	if p.gossip, err = n.startGossip(p.mux.gossip); err != nil {
		_ = p.raft.Close()
		return err
	}
	n.onClose(p.gossip.Close)
	admin.Register(p.rpc, adminNode{n})
	go func() {
		defer close(p.served)
		if err := p.rpc.Serve(p.mux.grpc); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			n.cfg.Log.Error("the RPC of peers ended", "node", n.identity.NodeID, "err", err)
		}
	}()
	n.onClose(func() error { p.rpc.Stop(); <-p.served; return nil })
	n.onClose(p.raft.Close) // before the server whose streams it may end
	p.client = admin.NewClient(admin.ClientConfig{Addr: n.peerAddr, Dial: n.dialPeer})
	n.onClose(p.client.Close)
	return nil
}

// overFrames has Raft's messages travel in frames of our own; streams of gRPC
// that would carry them are refused.
func (p *peers) overFrames(l net.Listener) error {
	n := p.node
	p.mux = newPortMux(l, n.cfg.Log, nil)
	p.rpc = grpc.NewServer()
	grpctransport.Refuse(p.rpc)
	t, err := tcp.New(tcp.Config{
		Node: n.identity.NodeID, ClusterID: n.identity.clusterName(), Listener: p.mux.frames,
		Addr: n.peerAddr, Dial: n.dialPeer, Log: n.cfg.Log.With("node", n.identity.NodeID),
	})
	if err == nil {
		p.raft, p.stats = t, t.Stats
	}
	return err
}

// overGRPC has Raft's messages travel in streams of gRPC; frames are refused.
func (p *peers) overGRPC(l net.Listener) error {
	n := p.node
	p.mux = newPortMux(l, n.cfg.Log, func(c net.Conn) { tcp.Refuse(c, n.identity.NodeID) })
	cfg := grpctransport.Config{
		Node: n.identity.NodeID, ClusterID: n.identity.clusterName(), Addr: n.peerAddr, Dial: n.dialPeer,
		Stock: n.cfg.PeerTransport == TransportGRPCStock, Log: n.cfg.Log,
	}
	p.rpc = grpc.NewServer(grpctransport.ServerOptions(cfg)...)
	t, err := grpctransport.New(cfg)
	if err == nil {
		t.Register(p.rpc)
		p.raft, p.stats = t, func() tcp.Stats { return asFrames(t.Stats()) }
	}
	return err
}

// MutualTLS is a configuration for Config.PeerTLS: either end shows pair and
// wants a certificate that an authority of pool has signed. Host names are not
// compared: nodes are known by their ids, which the handshake checks, and move
// from address to address.
func MutualTLS(pair tls.Certificate, pool *x509.CertPool) *tls.Config {
	verify := func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("the peer showed no certificate")
		}
		rest := x509.NewCertPool()
		for _, c := range s.PeerCertificates[1:] {
			rest.AddCert(c)
		}
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{
			Roots: pool, Intermediates: rest, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		})
		return err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair},
		ClientAuth: tls.RequireAnyClientCert, ClientCAs: pool, RootCAs: pool,
		InsecureSkipVerify: true, VerifyConnection: verify, // verify does it all but the host name
	}
}

// dialPeer connects to the port of another node.
func (n *Node) dialPeer(ctx context.Context, addr string) (net.Conn, error) {
	if n.cfg.PeerTLS != nil {
		d := tls.Dialer{Config: n.cfg.PeerTLS}
		return d.DialContext(ctx, "tcp", addr)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

// peerAddr is the address book: where gossip sees the node that the metadata
// knows, else what it registered with, and before that what the configuration
// says. A node that started again at another address can tell the metadata so only
// once others reach it there. What gossip says may be wrong: who answers is asked
// for cluster and node id in the handshake.
func (n *Node) peerAddr(id ids.NodeID) (string, bool) {
	b, known := n.meta.Image().Broker(id)
	if m, ok := n.peers.gossip.Lookup(id); ok && (!known || m.Directory == b.Directory) {
		return m.Peer, true
	}
	if known {
		return b.Raft, true
	}
	for _, p := range n.cfg.Peers {
		if p.Node == id {
			return p.Raft, true
		}
	}
	return "", false
}

// transport is how this node reaches others; nil where there are none.
func (n *Node) transport() transport.Transport {
	if n.peers == nil {
		return nil
	}
	return n.peers.raft
}
