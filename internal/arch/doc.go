// Package arch holds the test that keeps docs/architecture.md and the imports between packages in agreement.
package arch
