/** A text of digits as a number; not a number: it is none. Converting a text is work for the runtime, and each message brings one or two. */
export function numberIn(text: string): number {
  let number = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - ZERO;
    if (digit < 0 || digit > 9) return Number.NaN;
    number = number * 10 + digit;
  }
  return text === "" ? Number.NaN : number;
}

const ZERO = 0x30;
