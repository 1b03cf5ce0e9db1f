package loadgen

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// certificate writes a self-signed certificate for 127.0.0.1 and its key, and returns their paths.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "loadgen test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "EC PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// TestSecurity runs against a fake cluster that wants mutual TLS and SASL, by each mechanism; a wrong password is one clear line
// without the password in it.
func TestSecurity(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	raw, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	pool.AppendCertsFromPEM(raw)
	c := fake(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}),
		kfake.EnableSASL(), kfake.Superuser("PLAIN", "ann", "pa:ss"), kfake.Superuser("SCRAM-SHA-256", "bob", "s3cret"),
		kfake.Superuser("SCRAM-SHA-512", "cem", "s3cret"))
	pass := func(text string) string {
		path := filepath.Join(t.TempDir(), "pass")
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cfg := small(c)
	cfg.Duration, cfg.Records, cfg.ConnectTimeout = 0, 500, 3*time.Second
	cfg.TLS = TLSConfig{CA: cert, Cert: cert, Key: key}
	for _, text := range []string{"plain:ann:" + pass("pa:ss"), "scram-256:bob:" + pass("s3cret"), "SCRAM-SHA-512:cem:" + pass("s3cret")} {
		if cfg.SASL, err = ParseSASL(text); err != nil {
			t.Fatal(err)
		}
		r := mustRun(t, cfg)
		good(t, r)
		var out bytes.Buffer
		if raw, _ := r.JSON(); bytes.Contains(raw, []byte("s3cret")) || r.WriteText(&out) != nil ||
			strings.Contains(fmt.Sprint(out.String(), r.Detail.Config), "s3cret") {
			t.Error("the password is in the result")
		}
	}
	cfg.SASL.PassFile, cfg.ConnectTimeout = pass("wr0ng"), time.Second
	if _, err := Run(context.Background(), cfg); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "SASL") || strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("wrong password: %v", err)
	}
	cfg.TLS = TLSConfig{}
	if _, err := Run(context.Background(), cfg); !errors.Is(err, ErrUnreachable) {
		t.Errorf("no TLS: %v", err)
	}
}
