package main

import (
	"os"
	"strings"
)

// nginx has one worker, a buffered access log, kept-alive connections on both
// sides without the usual limit of requests, and streams bodies, as lictor does.
var nginx = &contestant{name: "nginx", start: func(b *bed, address string) (*proxy, error) {
	return startNginx(b, address, "nginx", func(conf string) (string, error) { return conf, nil })
}}

// startNginx starts nginx with what edit makes of its configuration. Its files
// begin with name.
func startNginx(b *bed, address, name string, edit func(string) (string, error)) (*proxy, error) {
	conf, err := edit(nginxConf)
	if err != nil {
		return nil, err
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // else its worker could not read our directory
	}
	access := b.dir + "/" + name + ".access"
	file, err := b.write(name+".conf", strings.NewReplacer(
		"{user}", user, "{name}", name, "{dir}", b.dir, "{address}", address, "{backend}", b.backend, "{access}", access,
	).Replace(conf))
	if err != nil {
		return nil, err
	}
	p, err := b.start(name, b.proxies, b.programs["nginx"], "-e", "stderr", "-p", b.dir, "-c", file)
	if err != nil {
		return nil, err
	}
	return &proxy{process: p, access: access}, nil
}

const nginxConf = `
daemon off;
{user}
pid {dir}/{name}.pid;
worker_processes 1;
worker_rlimit_nofile 16384;
error_log stderr error;
events {
  worker_connections 8192;
}
http {
  access_log {access} combined buffer=64k flush=200ms;
  client_body_temp_path {dir}/{name}.body;
  proxy_temp_path       {dir}/{name}.proxy;
  fastcgi_temp_path     {dir}/{name}.fastcgi;
  uwsgi_temp_path       {dir}/{name}.uwsgi;
  scgi_temp_path        {dir}/{name}.scgi;
  client_max_body_size 0;
  keepalive_requests 1000000000;
  tcp_nodelay on;
  upstream backend {
    server {backend};
    keepalive 64;
    keepalive_requests 1000000000;
  }
  server {
    listen {address} backlog=4096;
    location / {
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
    }
  }
}
`
