resolver "static" {
  services = {
    stripe = ["https://api.stripe.com"]
    rpc    = ["http://10.0.0.1:9000", "http://10.0.0.2:9000"]
  }
  meta = {
    stripe = { lictor-host = "upstream", lictor-timeout = "60s", "lictor-strip" = "true" }
    rpc    = { lictor-protocol = "h2c", lictor-balance = "least_requests" }
  }
}
