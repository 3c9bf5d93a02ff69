package acme

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"lictor/internal/files"
	"lictor/internal/version"
)

// issuer orders certificates. It implements [certmagic.Issuer], so that certmagic
// holds the lock of the host meanwhile.
type issuer struct {
	cfg    *Config
	key    string // of the authority, in the storage
	client *http.Client
}

const (
	askTime   = 30 * time.Second // for one answer of the authority
	maxAnswer = 1 << 20          // bytes of it
	pollTime  = 2 * time.Minute  // until it has looked at a challenge
)

func newIssuer(cfg *Config) (*issuer, error) {
	u, err := url.Parse(cfg.Directory)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("acme: directory: want a URL of https")
	}
	var roots *x509.CertPool
	if cfg.CAFile != "" {
		pem, err := files.Read(cfg.CAFile, 1<<20)
		if err != nil {
			return nil, fmt.Errorf("acme: ca_file: %w", err)
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("acme: ca_file: no certificate in %s", cfg.CAFile)
		}
	}
	only := &onlyTo{host: u.Host, by: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true, MaxIdleConns: 2, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: askTime,
		MaxResponseHeaderBytes: 64 << 10,
	}}
	return &issuer{cfg: cfg, key: certmagic.StorageKeys.Safe(u.Host + "-" + u.Path), client: &http.Client{Transport: only, Timeout: askTime}}, nil
}

// onlyTo sends requests to the host of the directory, whatever an answer of the
// authority names, and bounds answers.
type onlyTo struct {
	host string
	by   http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (o *onlyTo) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host != o.host || req.URL.Scheme != "https" {
		return nil, fmt.Errorf("the authority names a place that is not at %s", o.host)
	}
	resp, err := o.by.RoundTrip(req)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

// IssuerKey implements [certmagic.Issuer].
func (i *issuer) IssuerKey() string { return i.key }

// Issue implements [certmagic.Issuer]. It orders once; what the authority refused
// is not asked for again before its time, by whichever lictor.
func (i *issuer) Issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	name := csr.DNSNames[0]
	past := i.refusals(ctx, name)
	if past.holds(time.Now()) {
		return nil, &laterError{past.Next, past.Why}
	}
	solver := &solver{storage: i.cfg.Storage}
	client := &acmez.Client{
		Client:           &acme.Client{Directory: i.cfg.Directory, HTTPClient: i.client, UserAgent: "lictor/" + version.Number, PollTimeout: pollTime},
		ChallengeSolvers: make(map[string]acmez.Solver),
	}
	for _, kind := range i.cfg.Challenges {
		client.ChallengeSolvers[kind] = solver
	}
	account, err := i.account(ctx, client)
	if err != nil {
		return nil, i.refused(ctx, name, past, err)
	}
	params, err := acmez.OrderParametersFromCSR(account, csr)
	if err != nil {
		return nil, err
	}
	i.cfg.Log.Info("ordering a certificate", "host", name, "url", i.cfg.Directory)
	chains, err := client.ObtainCertificate(ctx, params)
	if err != nil {
		return nil, i.refused(ctx, name, past, err)
	}
	if len(chains) == 0 {
		return nil, errors.New("the authority gives no certificate")
	}
	if err := fits(chains[0].ChainPEM, csr, time.Now()); err != nil {
		return nil, i.later(ctx, name, past, pause(past), "its certificate "+err.Error())
	}
	_ = i.cfg.Storage.Delete(ctx, refusalKey(name)) // it says nothing any more
	return &certmagic.IssuedCertificate{Certificate: chains[0].ChainPEM, Metadata: chains[0]}, nil
}

// fits says why a certificate is of no use: kept, it would take the place of one that
// is, and be ordered anew at once, or never again.
func fits(chain []byte, csr *x509.CertificateRequest, now time.Time) error {
	block, _ := pem.Decode(chain)
	if block == nil {
		return errors.New("is no PEM")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return errors.New("cannot be read")
	}
	key, ok := leaf.PublicKey.(interface {
		Equal(other crypto.PublicKey) bool
	})
	switch {
	case !ok || !key.Equal(csr.PublicKey):
		return errors.New("is for another key")
	case leaf.VerifyHostname(csr.DNSNames[0]) != nil:
		return errors.New("is for another host")
	case !now.Before(renewal(leaf)):
		return fmt.Errorf("ends at %s, so that it would have to be renewed already", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// laterError says that the authority is not asked yet.
type laterError struct {
	at  time.Time
	why string
}

// Error implements error.
func (e *laterError) Error() string {
	return fmt.Sprintf("the authority refused it, next try at %s: %s", e.at.UTC().Format(time.RFC3339), e.why)
}

// refusal is what all lictors know of how the authority refused a host.
type refusal struct {
	Count int
	Next  time.Time
	Why   string
}

// holds reports whether the authority is not to be asked yet. A time that is further off
// than the longest pause was told by a clock that was ahead.
func (r *refusal) holds(now time.Time) bool {
	wait := r.Next.Sub(now)
	return r.Count > 0 && wait > 0 && wait <= pauses[len(pauses)-1]
}

func refusalKey(name string) string { return "refusals/" + certmagic.StorageKeys.Safe(name) }

// pauses are those after each refusal. An authority counts failed validations,
// five an hour for a host at Let's Encrypt.
var pauses = []time.Duration{time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour}

// pause is that after one more refusal.
func pause(past refusal) time.Duration { return pauses[min(max(past.Count, 0), len(pauses)-1)] }

func (i *issuer) refusals(ctx context.Context, name string) (r refusal) {
	text, err := i.cfg.Storage.Load(ctx, refusalKey(name))
	if err == nil {
		_ = json.Unmarshal(text, &r) // what cannot be read says nothing
	}
	return r
}

// refused keeps what the authority itself said, as opposed to that it was away.
func (i *issuer) refused(ctx context.Context, name string, past refusal, err error) error {
	problem, ok := errors.AsType[acme.Problem](err)
	if !ok {
		return err
	}
	if problem.Type == acme.ProblemTypeAccountDoesNotExist {
		_ = i.cfg.Storage.Delete(ctx, i.accountKey()) // the next try makes another one
		return i.later(ctx, name, past, time.Second, problem.Error())
	}
	return i.later(ctx, name, past, pause(past), problem.Error())
}

// later has all lictors wait before they order for a host again.
func (i *issuer) later(ctx context.Context, name string, past refusal, wait time.Duration, why string) error {
	next := refusal{Count: past.Count + 1, Next: time.Now().Add(wait), Why: cut(why)}
	if text, bad := json.Marshal(next); bad == nil {
		if bad = i.cfg.Storage.Store(ctx, refusalKey(name), text); bad != nil {
			return errors.Join(errors.New(next.Why), bad)
		}
	}
	return &laterError{next.Next, next.Why}
}

// cut makes an authority's words fit to be shown.
func cut(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s[:min(len(s), 500)], "?"))
}

// account returns the account at the authority, which all lictors share.
func (i *issuer) account(ctx context.Context, client *acmez.Client) (acme.Account, error) {
	if account, err := i.storedAccount(ctx); !errors.Is(err, fs.ErrNotExist) {
		return account, err
	}
	const lock = "acme_account"
	if err := i.cfg.Storage.Lock(ctx, lock); err != nil {
		return acme.Account{}, err
	}
	defer func() { _ = i.cfg.Storage.Unlock(context.WithoutCancel(ctx), lock) }() // else it ends with its session
	if account, err := i.storedAccount(ctx); !errors.Is(err, fs.ErrNotExist) {
		return account, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return acme.Account{}, err
	}
	account := acme.Account{PrivateKey: key, TermsOfServiceAgreed: true}
	if i.cfg.Email != "" {
		account.Contact = []string{"mailto:" + i.cfg.Email}
	}
	if account, err = client.NewAccount(ctx, account); err != nil {
		return account, err
	}
	pem, err := certmagic.PEMEncodePrivateKey(key)
	if err != nil {
		return account, err
	}
	text, err := json.Marshal(keptAccount{account, string(pem)})
	if err != nil {
		return account, err
	}
	return account, i.cfg.Storage.Store(ctx, i.accountKey(), text)
}

type keptAccount struct {
	Account acme.Account
	Key     string
}

func (i *issuer) accountKey() string { return "accounts/" + i.key }

func (i *issuer) storedAccount(ctx context.Context) (acme.Account, error) {
	text, err := i.cfg.Storage.Load(ctx, i.accountKey())
	if err != nil {
		return acme.Account{}, err
	}
	var kept keptAccount
	if err := json.Unmarshal(text, &kept); err != nil {
		return acme.Account{}, errors.New("the account in the storage cannot be read")
	}
	kept.Account.PrivateKey, err = certmagic.PEMDecodePrivateKey([]byte(kept.Key))
	return kept.Account, err
}

// ChallengeTypes are those that lictor can answer.
var ChallengeTypes = []string{acme.ChallengeTypeHTTP01, acme.ChallengeTypeTLSALPN01}

// answers reports whether challenges of a type are answered.
func (c *Config) answers(kind string) bool { return slices.Contains(c.Challenges, kind) }
