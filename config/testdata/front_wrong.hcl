gateway {
  redirect_address = ":8080"
  redirect_port    = 70000
  hsts             = "1 year"
}
