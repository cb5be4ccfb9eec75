import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodePunycode, encodePunycode } from "./idna.ts";
import { MAX_LABEL_LENGTH, MAX_NAME_LENGTH, parseConnectAuthority, parseHost, parseHostPort } from "./name.ts";

function codeOf(text: string): string {
  const parsed = parseHostPort(text);
  return parsed.ok ? `accepted as ${parsed.value.host.kind} ${parsed.value.host.text}` : parsed.error.code;
}

describe("parseHostPort", () => {
  it.each([
    ["example.com", "accepted as name example.com"],
    ["a", "accepted as name a"],
    ["my_bucket.s3.example.com", "accepted as name my_bucket.s3.example.com"],
    ["r3---sn-4g5e6n.example.com", "accepted as name r3---sn-4g5e6n.example.com"],
    ["1.example", "accepted as name 1.example"],
    ["xn--mnchen-3ya.de", "accepted as name xn--mnchen-3ya.de"],
    ["xn--fa-hia.de", "accepted as name xn--fa-hia.de"],
    ["xn--fiqs8s", "accepted as name xn--fiqs8s"],
    ["xn--4dbcagdahymbxekheh6e0a7fei0b.com", "accepted as name xn--4dbcagdahymbxekheh6e0a7fei0b.com"],
    ["192.0.2.1:80", "accepted as address 192.0.2.1"],
    ["[2001:db8::4]:443", "accepted as address [2001:db8::4]"],
    ["[::ffff:7f00:1]", "accepted as address [::ffff:7f00:1]"],
  ])("%s: %s", (text, expected) => {
    expect(codeOf(text)).toBe(expected);
  });

  // What WHATWG URL turns into 127.0.0.1 (or another address), and other spellings that somebody might repair.
  it.each([
    ["2130706433", "ipv4_spelling"],
    ["0x7f000001", "ipv4_spelling"],
    ["0x7f.1", "ipv4_spelling"],
    ["0177.0.0.1", "ipv4_spelling"],
    ["127.1", "ipv4_spelling"],
    ["127.0.1", "ipv4_spelling"],
    ["0", "ipv4_spelling"],
    ["0x", "ipv4_spelling"],
    ["127.0.0.0x1", "ipv4_spelling"],
    ["127.0.0.01", "ipv4_spelling"],
    ["1.2.3.4.5", "ipv4_spelling"],
    ["256.256.256.256", "ipv4_spelling"],
    ["foo.0x7f", "ipv4_spelling"],
    ["foo.1", "ipv4_spelling"],
    ["169.254.169.254.", "trailing_dot"],
    ["１２７.0.0.1", "not_ascii"],
    ["①②⑦.0.0.1", "not_ascii"],
    ["127。0。0。1", "not_ascii"],
    ["münchen.de", "not_ascii"],
    ["faß.de", "not_ascii"],
    ["example.com.", "trailing_dot"],
    ["example.com..", "trailing_dot"],
    ["example..com", "empty_label"],
    [".example.com", "empty_label"],
    ["Example.com", "upper_case"],
    ["XN--MNCHEN-3YA.de", "upper_case"],
    ["a@b.com@c.com", "user_information"],
    ["user:pass@example.com", "user_information"],
    ["example.com\\@evil.com", "user_information"],
    ["example.com\\.evil.com", "backslash"],
    ["exa\tmple.com", "white_space"],
    ["example.com\n", "white_space"],
    [" example.com", "white_space"],
    ["example.com\0.evil.com", "white_space"],
    ["example%2ecom", "percent_encoded"],
    ["%00", "percent_encoded"],
    ["[fe80::1%eth0]", "zone"],
    ["[fe80::1%25eth0]", "zone"],
    ["[::1", "brackets"],
    ["::1]", "empty"],
    ["[[::1]]", "brackets"],
    ["[::1]x", "brackets"],
    ["[::1].example.com", "brackets"],
    ["[127.0.0.1]", "brackets"],
    ["[v1.fe80]", "brackets"],
    ["[]", "brackets"],
    ["[::0001]", "ipv6_spelling"],
    ["[0:0:0:0:0:0:0:1]", "ipv6_spelling"],
    ["[2001:DB8::1]", "ipv6_spelling"],
    ["[::ffff:127.0.0.1]", "ipv6_spelling"],
    ["-a.com", "hyphen"],
    ["a-.com", "hyphen"],
    ["exa!mple.com", "bad_character"],
    ["example.com/", "bad_character"],
    ["*.example.com", "bad_character"],
    ["", "empty"],
    [":80", "empty"],
    ["example.com:", "port"],
    ["example.com:0", "port"],
    ["example.com:080", "port"],
    ["example.com:65536", "port"],
    ["example.com:99999999", "port"],
    ["example.com:+80", "port"],
    ["example.com:80:80", "port"],
    ["::1", "empty"],
    ["xn--", "hyphen"],
    ["xn--a", "idna"],
    ["xn--abc-", "hyphen"],
    ["xn--0", "idna"],
    // A fullwidth letter, a sharp S in upper case, a soft hyphen, a joiner, a zero width space: each stands for what is spelled otherwise.
    [`xn--${encodePunycode("ａ")}`, "idna"],
    [`xn--${encodePunycode("ẞ")}`, "idna"],
    [`xn--${encodePunycode("a\u00adb")}`, "idna"],
    [`xn--${encodePunycode("a\u200db")}`, "idna"],
    [`xn--${encodePunycode("a\u200bb")}`, "idna"],
    [`xn--${encodePunycode("\u0301a")}`, "idna"],
    [`xn--${encodePunycode("a\u0301")}`, "idna"],
    [`xn--${encodePunycode("Ü")}`, "idna"],
    // Hebrew after a digit at the front, and next to a label that starts with a digit.
    [`xn--${encodePunycode("0\u05d0")}`, "bidi"],
    [`1a.xn--${encodePunycode("\u05d0\u05d1")}`, "bidi"],
    [`xn--${encodePunycode("a\u05d0")}`, "bidi"],
  ])("refuses %j: %s", (text, code) => {
    expect(codeOf(text)).toBe(code);
  });

  it("keeps MAX_LABEL_LENGTH and MAX_NAME_LENGTH", () => {
    const label = "a".repeat(MAX_LABEL_LENGTH);
    expect(parseHost(label).ok).toBe(true);
    expect(codeOf(`${label}a.com`)).toBe("label_too_long");
    const longest = `${label}.${label}.${label}.${"a".repeat(MAX_NAME_LENGTH - 192)}`;
    expect(longest.length).toBe(MAX_NAME_LENGTH);
    expect(parseHost(longest).ok).toBe(true);
    expect(codeOf(`a${longest.slice(1)}b`)).toBe("name_too_long");
  });

  it("says what is wrong without repeating the input", () => {
    const parsed = parseHostPort("exa\r\nmple.com");
    expect(parsed).toMatchObject({ ok: false, error: { text: expect.stringMatching(/^[\x20-\x7e]+$/) } });
  });

  it("needs a port in a CONNECT authority", () => {
    expect(parseConnectAuthority("example.com")).toMatchObject({ ok: false, error: { code: "port_missing" } });
    expect(parseConnectAuthority("example.com:443")).toMatchObject({ ok: true, value: { port: 443 } });
  });
});

describe("names against WHATWG URL: what is accepted, URL leaves as it is", () => {
  function holds(text: string): void {
    const parsed = parseHost(text);
    if (!parsed.ok) return;
    expect(parsed.value.text).toBe(text);
    expect(new URL(`http://${text}/`).hostname).toBe(text);
  }

  it("for hosts made of the characters that matter", () => {
    const char = fc.constantFrom(..."abcxn01279-._:[]%@\\/ \tA".split(""), "。", "１", "①", "ß", "ü");
    fc.assert(
      fc.property(fc.array(char, { minLength: 1, maxLength: 16 }), (chars) => holds(chars.join(""))),
      { numRuns: 5_000, seed: 3 },
    );
  });

  it("for numbers and dots", () => {
    const part = fc.constantFrom("0", "1", "127", "255", "256", "0x7f", "0177", "1e3", "a", "00", "4294967295");
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 6 }), (parts) => holds(parts.join("."))),
      { numRuns: 2_000, seed: 4 },
    );
  });

  it("for A-labels of text from many scripts, on their own and beside others", () => {
    const letter = fc.constantFrom(
      ..."abz09-ßςüäéøñłőαβώдяїञनह한국中文字カなאבתשגפابتجעﷺ①ａＡẞ\u0301\u064b\u05b0\u200c\u200d\u00ad".match(/./gsu)!,
    );
    const any = fc.integer({ min: 0x80, max: 0x2ffff }).filter((point) => point < 0xd800 || point > 0xdfff);
    const point = fc.oneof(
      { weight: 4, arbitrary: letter },
      { weight: 1, arbitrary: any.map((code) => String.fromCodePoint(code)) },
    );
    const label = fc.array(point, { minLength: 1, maxLength: 8 }).map((chars) => `xn--${encodePunycode(chars.join(""))}`);
    let accepted = 0;
    fc.assert(
      fc.property(label, fc.constantFrom("", "a.", "1.", "a1.", "xn--4dbrk0ce."), (text, front) => {
        if (parseHost(front + text).ok) accepted += 1;
        holds(front + text);
      }),
      { numRuns: 10_000, seed: 5 },
    );
    expect(accepted).toBeGreaterThan(300);
  });

  it("for addresses in brackets", () => {
    const char = fc.constantFrom(..."0123456789abcdef:::.[]%".split(""));
    fc.assert(
      fc.property(fc.array(char, { minLength: 1, maxLength: 20 }), (chars) => holds(`[${chars.join("")}]`)),
      { numRuns: 5_000, seed: 6 },
    );
  });
});

describe("punycode (RFC 3492)", () => {
  // RFC 3492 7.1 (A), (B), (L).
  it.each([
    ["ليهمابتكلموشعربي؟", "egbpdaj6bu4bxfgehfvwxn"],
    ["他们为什么不说中文", "ihqwcrb4cv8a8dqg056pqjye"],
    ["3年B組金八先生", "3B-ww4c5e180e575a65lsy2b"],
  ])("%s is %s", (text, encoded) => {
    expect(encodePunycode(text)).toBe(encoded);
    expect(decodePunycode(encoded.toLowerCase())?.toLowerCase()).toBe(text.toLowerCase());
  });

  it("reads back what it writes", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 }), (text) => {
        if (/^[\x00-\x7f]*$/.test(text) || /[A-Z]/.test(text)) return;
        expect(decodePunycode(encodePunycode(text))).toBe(text);
      }),
      { numRuns: 1_000, seed: 7 },
    );
  });

  it("refuses what runs over or breaks off", () => {
    expect(decodePunycode("99999999999999999999")).toBeUndefined();
    expect(decodePunycode("z")).toBeUndefined();
    expect(decodePunycode("a-A")).toBeUndefined();
  });
});
