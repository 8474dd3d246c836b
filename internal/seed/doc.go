// Package seed gives named random streams, so that results depend neither on order nor on core count.
package seed
