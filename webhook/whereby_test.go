package webhook_test

import (
	"usher/api/whereby"
	"usher/webhook"
)

func init() { webhook.AllDialects[whereby.DialectName] = whereby.Dialect("meet") }
