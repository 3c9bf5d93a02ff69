admin {
  token = "t-all"

  access "ci" {
    token = "t-all"
    may   = ["reed"]
  }

  access "ci" {
    token      = "t-ci"
    token_file = "/run/secrets/ci"
    may        = ["read"]
  }

  access "nobody" {
    may = ["mapping:"]
  }

  access "nothing" {
    token = "a b"
    may   = []
  }

  access "empty" {
    token = ""
    may   = ["read"]
  }

  access "narrow" {
    token   = "t-narrow"
    may     = ["read"]
    domains = ["acme.example", "*"]
  }

  access "none" {
    token   = "t-none"
    may     = ["mapping:acme"]
    domains = []
  }

  access {
    token = "x"
  }
}
