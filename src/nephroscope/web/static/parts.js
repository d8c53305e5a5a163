// What the file carries besides its code: packed parts, the rules, and what is known of the bundle. The scripts before this one are the libraries.

const text = (id) => document.getElementById(id).textContent;

globalThis.RULES = JSON.parse(text("rules"));
globalThis.PAGE = JSON.parse(text("page"));

function fromBase64(coded) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(coded);
  const plain = atob(coded);
  const bytes = new Uint8Array(plain.length);
  for (let i = 0; i < plain.length; i += 1) bytes[i] = plain.charCodeAt(i);
  return bytes;
}

/** Each part is unpacked once and compared with its digest; its text is then taken out of the page, which needs less memory. */
globalThis.PARTS = {
  async bytes(name) {
    const element = document.getElementById(`part-${name}`);
    const packed = fromBase64(element.textContent);
    element.remove();
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (found !== PAGE.sha256[name]) throw new Error(`the part ${name} of this page is damaged: its SHA-256 is ${found}`);
    return bytes;
  },
};
