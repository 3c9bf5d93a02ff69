log_level = "warn"
resolver "static" {
  services = { a = ["http://127.0.0.1:1"] }
}
