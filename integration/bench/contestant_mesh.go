package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"
)

// The contestants that speak to an instance in Consul's mesh: with the same
// certificate, to the same peer, which wants one. lictor goes by Consul and its
// SPIFFE id, HAProxy by the authority alone.
const (
	meshCommand = "mesh"
	meshService = "meshed"
	meshPath    = "/" + meshService + "/small"
)

var peersMesh = []*contestant{
	{name: lictor.name, asked: answersMesh, start: func(b *bed, address string) (*proxy, error) {
		if err := b.startMesh(); err != nil {
			return nil, err
		}
		return startLictorFrom(b, "lictor", address, "", `connect = "require"`, "")
	}},
	{name: haproxy.name, asked: answersMesh, start: func(b *bed, address string) (*proxy, error) {
		if err := b.startMesh(); err != nil {
			return nil, err
		}
		return startHAProxy(b, address, "haproxy-mesh", func(conf string) (string, error) {
			return strings.Replace(conf, "server backend {backend}", fmt.Sprintf("server backend %s ssl verify required ca-file %s crt %s "+
				"ciphersuites TLS_AES_128_GCM_SHA256 ssl-min-ver TLSv1.3", b.mesh.address, b.mesh.roots, b.mesh.client), 1), nil
		})
	}},
}

// meshBed is the instance in the mesh, and files of its certificates.
type meshBed struct{ address, roots, client string }

// startMesh starts the instance in the mesh that all contestants share, with a
// certificate from Consul. It must be called in the main goroutine.
func (b *bed) startMesh() error {
	if b.mesh != nil {
		return nil
	}
	m := new(meshBed)
	roots, _, err := b.client.Agent().ConnectCARoots(nil)
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, root := range roots.Roots {
		text.WriteString(root.RootCertPEM)
	}
	if m.roots, err = b.write("mesh-roots.pem", text.String()); err != nil {
		return err
	}
	server, err := b.meshCertificate(meshService)
	if err != nil {
		return err
	}
	if m.client, err = b.meshCertificate("lictor"); err != nil {
		return err
	}
	if m.address, err = freeAddress(); err != nil {
		return err
	}
	p, err := b.start(meshCommand, b.others, b.programs[backendCommand], meshCommand, m.address, server, m.roots)
	if err != nil {
		return err
	}
	b.started = append(b.started, p)
	host, port, _ := net.SplitHostPort(m.address)
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	b.mesh = m
	return b.client.Agent().ServiceRegister(&api.AgentServiceRegistration{
		Name: meshService, Address: host, Port: n, Connect: &api.AgentServiceConnect{Native: true},
	})
}

// meshCertificate writes a service's certificate and key into one file.
func (b *bed) meshCertificate(service string) (string, error) {
	leaf, _, err := b.client.Agent().ConnectCALeaf(service, nil)
	if err != nil {
		return "", err
	}
	return b.write("mesh-"+service+".pem", leaf.CertPEM+leaf.PrivateKeyPEM)
}

// serveMesh is serveBackend behind TLS that wants a certificate of the mesh.
func serveMesh(address, file, roots string) error {
	cert, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(roots)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return errors.New("the mesh has no authority")
	}
	l, err := tls.Listen("tcp", address, &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS13})
	if err != nil {
		return err
	}
	return serveAll(l)
}

// answersMesh waits until p brings the answer of the instance in the mesh.
func answersMesh(ctx context.Context, _ *bed, p *proxy) error {
	err := p.until(ctx, func() error { return fetch(ctx, "http://"+p.address+meshPath, "", http.StatusOK, smallSize) })
	if err != nil {
		return err
	}
	return p.findGroup()
}
