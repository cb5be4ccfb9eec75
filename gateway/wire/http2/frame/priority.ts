/** PRIORITY (RFC 9113 6.3), and the part of HEADERS that says the same: deprecated, checked for its length and skipped (RFC 9113 5.3.2). */
export const PRIORITY_BYTES = 5;
