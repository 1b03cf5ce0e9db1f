package grpctransport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"testing"
	"time"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// authority signs certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, pool: x509.NewCertPool(), cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}}
	a.cert = a.sign(t, a.cert, key)
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) sign(t *testing.T, c *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// node makes a certificate that is good for both ends on loopback.
func (a *authority) node(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, key)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// TestMutualTLS: the assembly's dialler and listener do TLS on both sides; a
// caller without a certificate of the authority is not let in.
func TestMutualTLS(t *testing.T) {
	ca := newAuthority(t)
	dialer := func(certs ...tls.Certificate) func(context.Context, string) (net.Conn, error) {
		d := tls.Dialer{Config: &tls.Config{RootCAs: ca.pool, Certificates: certs}}
		return func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	}
	var b book
	cfg := Config{ClusterID: "c", Addr: b.addr, Dial: dialer(ca.node(t))}
	var nodes []*node
	var inboxes []*heard
	for id := range ids.NodeID(2) {
		cfg.Node = id + 1
		n := serve(t, tls.NewListener(listen(t, "127.0.0.1:0"), &tls.Config{
			Certificates: []tls.Certificate{ca.node(t)}, ClientCAs: ca.pool, ClientAuth: tls.RequireAndVerifyClientCert,
		}), cfg)
		in := newHeard()
		n.Start(in)
		b.set(cfg.Node, n.addr)
		nodes, inboxes = append(nodes, n), append(inboxes, in)
	}
	for from := range nodes {
		to := 1 - from
		nodes[from].Send(ids.NodeID(to+1), transport.Bulk, numbered(7, 1<<20))
		if e := <-inboxes[to].got; e.Message.Index != 7 || len(e.Message.Entries[0].Data) != 1<<20 {
			t.Errorf("node %d got message %d", to+1, e.Message.Index)
		}
	}

	cfg.Node, cfg.Dial = 3, dialer()
	stranger, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	h := newHeard()
	stranger.Start(h)
	sendUntil(stranger, 1, h.reports)
	if err := stranger.Err(1, transport.Control); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
	if s := nodes[0].Stats(); s.Streams != 1 {
		t.Errorf("%d streams", s.Streams)
	}
}
