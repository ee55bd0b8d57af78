#!/usr/bin/env bash
# Makes images of programs built on this machine, under the names of docker-compose.yml: real_images.sh FOLDER
# FOLDER holds `jaeger` and/or `otelcol`, statically linked (CGO_ENABLED=0). Never push them: they are not upstream's.
set -euo pipefail
from=${1:?usage: real_images.sh FOLDER with jaeger and otelcol in it}
compose=$(dirname "$0")/../../docker-compose.yml
made=0
image() { grep -oE "image: $1:[^ ]+" "$compose" | cut -d' ' -f2; }
build() { # PROGRAM IMAGE
    [ -x "$from/$1" ] || return 0
    context=$(mktemp -d)
    cp "$from/$1" "$context/program"
    printf 'FROM scratch\nCOPY program /program\nUSER 10001\nENTRYPOINT ["/program"]\nCMD ["--config", "/etc/otelcol-contrib/config.yaml"]\n' >"$context/Dockerfile"
    docker build --quiet --tag "$2" "$context"
    rm -rf "$context"
    made=$((made + 1))
    echo "$2 is $from/$1"
}
build jaeger "$(image jaegertracing/jaeger)"
build otelcol "$(image otel/opentelemetry-collector-contrib)"
[ "$made" -gt 0 ] || { echo "neither jaeger nor otelcol in $from" >&2; exit 1; }
