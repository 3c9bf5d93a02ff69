admin {
  address = "0.0.0.0:8001"

  access "ci" {
    token = "t-ci"
    may   = ["policy", "metrics"]
  }

  access "acme" {
    token_file = "/run/secrets/acme"
    may        = ["mapping:acme", "mapping:acme.example"]
    domains    = ["Acme.example.", "*.acme.example"]
  }
}
