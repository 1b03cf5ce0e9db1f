package tcp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"dyno/engine/ids"
	"dyno/engine/transport"
	"dyno/engine/transport/transporttest"
)

func factory(change func(*Config)) transporttest.Factory {
	return func(t *testing.T, n int, queueBytesMax int64) (list []transport.Transport) {
		b := newBook()
		for i := range n {
			cfg := config(t, b, ids.NodeID(i+1), anywhere)
			cfg.QueueBytesMax = queueBytesMax
			b.set(cfg.Node, cfg.Listener.Addr().String())
			if change != nil {
				change(&cfg)
			}
			tr, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = tr.Close() })
			list = append(list, tr)
		}
		return list
	}
}

func TestKeepsTheContract(t *testing.T) { transporttest.Run(t, factory(nil)) }

func TestKeepsTheContractOverTLS(t *testing.T) {
	transporttest.Run(t, factory(newAuthority(t).secure))
}

// TestTLSRefusesStrangers: without a certificate of the authority nobody gets
// as far as a handshake of ours.
func TestTLSRefusesStrangers(t *testing.T) {
	b := newBook()
	n1 := start(t, b, 1, anywhere, newAuthority(t).secure)
	n2 := start(t, b, 2, anywhere, newAuthority(t).secure) // another one
	n2.Send(1, transport.Control, one(heartbeat(5, 1, 1)))
	n2.wait(func() bool { return len(n2.told) > 0 })
	eventually(t, "refused", func() bool { return n1.Stats().Refused.Garbage > 0 })
	if s := n1.Stats(); s.Accepted != 0 || s.ReceivedMessages != 0 {
		t.Fatalf("%+v", s)
	}
}

// authority signs certificates for mutual authentication.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert, a.key = a.sign(template, template, nil)
	return a
}

func (a *authority) sign(template, parent *x509.Certificate, with *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if with == nil {
		with = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), with)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) config() *tls.Config {
	cert, key := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, a.key)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
		RootCAs:      pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}
}

// secure makes a node speak TLS in both directions.
func (a *authority) secure(c *Config) {
	conf := a.config()
	c.Listener = tls.NewListener(c.Listener, conf)
	c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		return (&tls.Dialer{Config: conf}).DialContext(ctx, "tcp", addr)
	}
}
