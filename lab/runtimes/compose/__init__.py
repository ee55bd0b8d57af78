"""The lab in containers: Docker Compose starts and stops them; a supervisor observes and breaks them."""

# in the lab's folder from the start of `lab up --runtime compose` to the end of `lab down`
ENV_FILE = "compose.env"
