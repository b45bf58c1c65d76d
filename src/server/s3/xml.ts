/** The few lines of XML writing that S3's answers need. */

export const s3Namespace = 'http://s3.amazonaws.com/doc/2006-03-01/';

// Control characters are written as references, as Amazon does: XML 1.0 has no way to carry them, and clients that
// keep such keys ask for encoding-type=url.
const special = /[&<>"'\p{Cc}\ufffe\uffff]/gu;
const named: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

export function escapeXml(text: string): string {
  return text.replace(special, (one) => named[one] ?? `&#x${one.charCodeAt(0).toString(16)};`);
}

/** One element whose content is text. */
export function element(name: string, text: string | number | boolean): string {
  return `<${name}>${escapeXml(String(text))}</${name}>`;
}

export function document(root: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${root}\n`;
}
