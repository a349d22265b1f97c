//! Conformance suites, simulator and end-to-end tests of Larder.
