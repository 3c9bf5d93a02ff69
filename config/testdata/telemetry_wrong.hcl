telemetry {
  otlp_endpoint = "http://user:not-to-be-seen@collector.example"
  headers = {
    "x api key"    = "a"
    "Content_Type" = "a"
    empty          = ""
    broken         = "not-to-be-seen\nHost: other"
    number         = 7
  }
  sample       = 1.5
  slow         = "-1s"
  service_name = ""
  tls {
    ca_file  = "/etc/lictor/ca.pem"
    key_file = "/etc/lictor/key.pem"
  }
  grpc = true
}
