package bench

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// certificateFiles are the PEM files with which the nodes of a bed prove to each
// other who they are.
type certificateFiles struct{ ca, cert, key string }

// writeCertificates makes an authority for a day and one certificate of it, which
// all nodes show, and writes both into dir. P-256, as nodes on the internet have.
func writeCertificates(dir string) (files certificateFiles, err error) {
	files = certificateFiles{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "node.pem"), filepath.Join(dir, "node-key.pem")}
	defer func() {
		if err != nil {
			err = fmt.Errorf("make certificates: %w", err)
		}
	}()
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bed"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caKey, err := writeCertificate(files.ca, authority, authority, nil)
	if err != nil {
		return files, err
	}
	key, err := writeCertificate(files.cert, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"},
		KeyUsage: x509.KeyUsageDigitalSignature}, authority, caKey)
	if err != nil {
		return files, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return files, err
	}
	return files, writePEM(files.key, "PRIVATE KEY", der)
}

// writeCertificate signs template with the authority's key, or with its own where
// that is nil, writes it and returns its own key.
func writeCertificate(file string, template, authority *x509.Certificate, signer crypto.Signer) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if signer == nil {
		signer = key
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	return key, writePEM(file, "CERTIFICATE", der)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
