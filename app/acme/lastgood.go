package acme

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"path/filepath"
	"time"

	"github.com/caddyserver/certmagic"

	"lictor/internal/durable"
	"lictor/internal/files"
)

func (m *Manager) lastGoodFile(name string) string {
	return filepath.Join(m.cfg.LastGood, certmagic.StorageKeys.Safe(name)+".sealed")
}

// readLastGood returns the certificate that was served last, nil if there is none.
func (m *Manager) readLastGood(name string) *tls.Certificate {
	if m.cfg.LastGood == "" {
		return nil
	}
	sealed, err := files.Read(m.lastGoodFile(name), 1<<20)
	if err != nil {
		return nil
	}
	text, err := m.cfg.Seal.open(name, sealed)
	if err != nil {
		return nil
	}
	cert, err := pair(text, text, name)
	if err != nil {
		return nil
	}
	return cert
}

// keepLastGood keeps a certificate for a start while the storage is away.
func (m *Manager) keepLastGood(name string, cert *tls.Certificate) {
	if m.cfg.LastGood == "" {
		return
	}
	var text bytes.Buffer
	for _, der := range cert.Certificate {
		_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der}) // a buffer takes all
	}
	key, err := certmagic.PEMEncodePrivateKey(cert.PrivateKey)
	if err == nil {
		text.Write(key)
		err = durable.Replace(m.lastGoodFile(name), m.cfg.Seal.close(name, text.Bytes()), 0o600, time.Time{})
	}
	if err != nil {
		m.cfg.Log.Warn("cannot keep a certificate in data_dir", "host", name, "error", err)
	}
}
