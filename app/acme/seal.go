package acme

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"lictor/internal/durable"
	"lictor/internal/files"
)

// Seal encrypts what is kept where others may read, by XChaCha20-Poly1305. A
// sealed value opens under its own name alone.
type Seal struct{ aead cipher.AEAD }

const sealVersion = 1 // the first byte of a sealed value

// ReadSeal reads the key in a file: 32 bytes in hexadecimal digits or base64, as
// openssl rand -hex 32 writes them.
func ReadSeal(file string) (*Seal, error) {
	text, err := files.Read(file, 4096)
	if err != nil {
		return nil, fmt.Errorf("key_file: %w", err)
	}
	word := strings.TrimSpace(string(text))
	key, err := hex.DecodeString(word)
	if err != nil {
		key, err = base64.StdEncoding.DecodeString(word)
	}
	if err != nil || len(key) != chacha20poly1305.KeySize {
		return nil, fmt.Errorf("key_file: want 32 bytes in hexadecimal digits or base64 in %s, as openssl rand -hex 32 writes them", file)
	}
	return newSeal(key)
}

// OwnSeal is ReadSeal with a key of this lictor's own, which it makes if there is none.
func OwnSeal(file string) (*Seal, error) {
	if !durable.Exists(file) {
		key := make([]byte, chacha20poly1305.KeySize)
		rand.Read(key) // never fails
		if err := durable.Replace(file, []byte(hex.EncodeToString(key)+"\n"), 0o600, time.Time{}); err != nil {
			return nil, err
		}
	}
	return ReadSeal(file)
}

func newSeal(key []byte) (*Seal, error) {
	aead, err := chacha20poly1305.NewX(key)
	return &Seal{aead}, err
}

func (s *Seal) close(name string, text []byte) []byte {
	out := make([]byte, 1+s.aead.NonceSize(), 1+s.aead.NonceSize()+len(text)+s.aead.Overhead())
	out[0] = sealVersion
	rand.Read(out[1:])                                   // never fails
	return s.aead.Seal(out, out[1:], text, []byte(name)) //nolint:gosec // the nonce is the random bytes above
}

// errSealed is of a value that another key sealed, or that was changed.
var errSealed = errors.New("cannot be opened: give all lictors the same key_file, or delete what another key sealed")

func (s *Seal) open(name string, sealed []byte) ([]byte, error) {
	n := 1 + s.aead.NonceSize()
	if len(sealed) < n || sealed[0] != sealVersion {
		return nil, errSealed
	}
	text, err := s.aead.Open(nil, sealed[1:n], sealed[n:], []byte(name))
	if err != nil {
		return nil, errSealed
	}
	return text, nil
}
