# The program alone, static, as a user who may do nothing: `make image` builds it.
# The recorder's side, `usher finalize`, runs where Jibri runs, not here.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN make build VERSION="$VERSION"

FROM scratch
# Webhook receivers and S3 are verified with these.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/bin/usher /usher
USER 1000:1000
# Alive, not ready: a restart heals neither Prosody nor Redis. The compose file
# of deploy/docker-jitsi-meet asks for ready, because it restarts nothing for that.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["/usher", "healthcheck", "--live"]
ENTRYPOINT ["/usher"]
CMD ["serve"]
