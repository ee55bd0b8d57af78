"""The lab in containers: Docker Compose starts and ends them, a supervisor on the host watches and breaks them."""

# In the lab's folder, from the begin of `lab up --runtime compose` to the end of `lab down`.
ENV_FILE = "compose.env"
