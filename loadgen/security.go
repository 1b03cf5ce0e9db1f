package loadgen

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// TLSConfig names PEM files; any of them set turns TLS on. Cert and Key go together and authenticate the client.
type TLSConfig struct {
	CA, Cert, Key string
}

func (t *TLSConfig) on() bool { return *t != TLSConfig{} }

func (t *TLSConfig) validate() error {
	if (t.Cert == "") != (t.Key == "") {
		return fmt.Errorf("%w: a TLS client certificate and its key go together: give both --tls-cert and --tls-key", ErrUsage)
	}
	return nil
}

// load reads the files.
func (t *TLSConfig) load() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("%w: TLS CA: %w", ErrUsage, err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: TLS CA %s holds no PEM certificate", ErrUsage, t.CA)
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("%w: TLS client certificate: %w", ErrUsage, err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// SASLConfig authenticates the client. The password stays in its file until a connection needs it and is never printed.
type SASLConfig struct {
	Mechanism string // PLAIN, SCRAM-SHA-256, SCRAM-SHA-512; empty: no authentication
	User      string
	PassFile  string
}

// ParseSASL reads mech:user:passfile; the mechanism in any case, SCRAM-256 and SCRAM-512 for short.
func ParseSASL(text string) (SASLConfig, error) {
	f := strings.SplitN(text, ":", 3)
	if len(f) != 3 || f[1] == "" || f[2] == "" {
		return SASLConfig{}, fmt.Errorf("%w: sasl: want mechanism:user:passfile", ErrUsage)
	}
	s := SASLConfig{Mechanism: strings.ToUpper(f[0]), User: f[1], PassFile: f[2]}
	switch s.Mechanism {
	case "SCRAM-256":
		s.Mechanism = "SCRAM-SHA-256"
	case "SCRAM-512":
		s.Mechanism = "SCRAM-SHA-512"
	}
	return s, s.validate()
}

func (s *SASLConfig) validate() error {
	switch s.Mechanism {
	case "", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
		return nil
	}
	return fmt.Errorf("%w: sasl mechanism %q: want PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", ErrUsage, s.Mechanism)
}

// load reads the password; a trailing newline is not part of it.
func (s *SASLConfig) load() (sasl.Mechanism, error) {
	raw, err := os.ReadFile(s.PassFile)
	if err != nil {
		var at *os.PathError
		if errors.As(err, &at) {
			err = at.Err // not the path: a password given in its place would be printed
		}
		return nil, fmt.Errorf("%w: sasl: cannot read the file that the third part of mechanism:user:passfile names: %w", ErrUsage, err)
	}
	pass := strings.TrimRight(string(raw), "\r\n")
	switch s.Mechanism {
	case "SCRAM-SHA-256":
		return scram.Auth{User: s.User, Pass: pass}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: s.User, Pass: pass}.AsSha512Mechanism(), nil
	}
	return plain.Auth{User: s.User, Pass: pass}.AsMechanism(), nil
}

// securityOpts are the client options every client of a run shares.
func securityOpts(cfg *Config) ([]kgo.Opt, error) {
	var opts []kgo.Opt
	if cfg.TLS.on() {
		t, err := cfg.TLS.load()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(t))
	}
	if cfg.SASL.Mechanism != "" {
		m, err := cfg.SASL.load()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.SASL(m))
	}
	return opts, nil
}
