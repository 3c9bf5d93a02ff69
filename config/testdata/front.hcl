gateway {
  address          = ":8443"
  redirect_address = ":8080"
  redirect_port    = 443
  hsts             = "1y; includeSubdomains"
  tls {
    cert_file = "a.pem"
    key_file  = "a.key"
  }
}
