/** RFC 9113 3.4: what a client sends first. Whoever gives it to an HTTP/1.x server is told so at once. */
export const PREFACE: Uint8Array = Uint8Array.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (char) => char.charCodeAt(0));
