log_level = "info"
gateway {
  timeout = "x"
}
