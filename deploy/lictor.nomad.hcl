# lictor on every client of a Nomad cluster, in front of the Consul agent there.
job "lictor" {
  type = "system"

  update {
    max_parallel = 1
    stagger      = "30s"
  }

  group "lictor" {
    network {
      mode = "host"
      port "gateway" {
        static = 8000
      }
      port "admin" {
        static = 8001
      }
    }

    ephemeral_disk {
      sticky = true # the last good policy and services outlive an allocation
    }

    task "lictor" {
      driver       = "docker"
      kill_signal  = "SIGTERM"
      kill_timeout = "60s" # longer than drain

      config {
        image        = "lictor:latest"
        network_mode = "host"
        args         = ["run", "-config", "/local/lictor.hcl"]
      }

      template {
        destination   = "local/lictor.hcl"
        change_mode   = "signal"
        change_signal = "SIGHUP"
        data          = <<-EOT
          data_dir = "/alloc/data/lictor"
          gateway {
            address = ":8000"
          }
          admin {
            address = "127.0.0.1:8001"
          }
          consul {
          }
          resolver "consul" {
          }
        EOT
      }

      resources {
        cpu    = 1000
        memory = 256
      }
    }

    service {
      name     = "lictor-gateway"
      port     = "gateway"
      provider = "consul"
      check {
        type     = "http"
        port     = "admin"
        path     = "/readyz"
        interval = "5s"
        timeout  = "2s"
      }
    }
  }
}
