# The image holds the program alone, which is static: `make build` first.
# The recorder's side, `usher finalize`, runs where Jibri runs, not here.
FROM alpine:3 AS roots
RUN apk add --no-cache ca-certificates

FROM scratch
# Webhook receivers and S3 are verified with these.
COPY --from=roots /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY bin/usher /usher
USER 1000:1000
ENTRYPOINT ["/usher"]
CMD ["serve"]
