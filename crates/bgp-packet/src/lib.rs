//! BGP-4 wire codec: messages, capabilities, path attributes, NLRI; RFC 7606 verdicts as values.
