package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Keeping asks Redis whether it keeps what it is given, and returns what speaks
// against that: it may throw entries away to make room, or lose them with its
// process. What a Redis does not say of itself, as some that are rented do, is
// not held against it. It blocks for one call. Errors: [ErrOldRedis].
func (r *Redis) Keeping(ctx context.Context) (findings []Finding, err error) {
	defer r.measure(opPing, time.Now(), &err)
	text, err := r.rdb.Info(ctx).Result()
	if err != nil {
		return nil, err
	}
	info := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		info[name] = value
	}
	if isOlder(info["redis_version"], minVersion) {
		return nil, fmt.Errorf("%w: it is version %s, and usher needs %s or newer", ErrOldRedis, info["redis_version"], minVersion)
	}
	if limit, _ := strconv.ParseInt(info["maxmemory"], 10, 64); limit > 0 && info["maxmemory_policy"] != "" && info["maxmemory_policy"] != "noeviction" {
		findings = append(findings, Finding{
			fmt.Sprintf("Redis throws away what it likes once it holds %s (maxmemory-policy %s)", info["maxmemory_human"], info["maxmemory_policy"]),
			"redis-cli config set maxmemory-policy noeviction, and the same line in redis.conf",
		})
	}
	if info["aof_enabled"] == "0" {
		findings = append(findings, Finding{
			"Redis keeps no append-only file: a restart of it loses what came after its last snapshot",
			"redis-cli config set appendonly yes, and the same line in redis.conf",
		})
	}
	return findings, nil
}

// ErrOldRedis says that this Redis does not know all that usher asks for.
var ErrOldRedis = errors.New("redis is too old")

// minVersion is the first Redis that lists by score and backwards (ZRANGE … REV).
const minVersion = "6.2"

// isOlder compares versions, number by number; one that is none is not older.
func isOlder(version, than string) bool {
	have, want := strings.Split(version, "."), strings.Split(than, ".")
	for i := range min(len(have), len(want)) {
		h, err := strconv.Atoi(have[i])
		w, _ := strconv.Atoi(want[i])
		if err != nil || h != w {
			return err == nil && h < w
		}
	}
	return false
}

// Holder returns the process that leads the site, as it was named to [Redis.Lead];
// empty: none does. It blocks for one call.
func (r *Redis) Holder(ctx context.Context) (holder string, err error) {
	defer r.measure(opLease, time.Now(), &err)
	lease, err := r.rdb.MGet(ctx, r.keys.leader()).Result()
	if err != nil || lease[0] == nil {
		return "", err
	}
	named := fmt.Sprint(lease[0]) // with a nonce behind the last blank
	return named[:max(strings.LastIndexByte(named, ' '), 0)], nil
}

// Time returns Redis's clock. It blocks for one call.
func (r *Redis) Time(ctx context.Context) (at time.Time, err error) {
	defer r.measure(opPing, time.Now(), &err)
	return r.rdb.Time(ctx).Result()
}
