/** `1.2.3.4:80`, `[2001:db8::1]:80`, `name:80`. */
export function addressAndPort(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
