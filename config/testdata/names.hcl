log_levle = "info"

gateway {
  adress = ":8000"
  inner {
  }
}

gatway {
}

resolver "zookeeper" {
}

resolver {
}

dispatch "http" "extra" {
}
