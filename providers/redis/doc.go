// Package redis keeps the items of a core.Store in Redis, by go-redis.
package redis
