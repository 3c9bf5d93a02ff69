telemetry {
  otlp_endpoint = "https://collector.example:4318/otlp/"
  headers       = { "x-api-key" = file("testdata/secret.txt"), Authorization = "Bearer not-to-be-seen" }
  sample        = 1
  slow          = "250ms"
  service_name  = "edge"
  tls {
    ca_file = "/etc/lictor/ca.pem"
  }
}
