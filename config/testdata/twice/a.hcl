log_level = "warn"
gateway {
}
