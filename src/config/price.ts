/** `[price]`, and what `[[ufs]]` says of it: what requests to origins cost, for plans of loads. */
import Type from 'typebox';
import type { PriceRow, PriceTable } from '../core/price.ts';
import type { Draft } from './draft.ts';
import { number, text } from './forms.ts';

const what = {
  list: '1,000 requests that list',
  head: '1,000 HEAD requests',
  get: '1,000 GET requests, of parts of objects or of whole ones',
  transfer: '10^9 bytes that are read',
} as const;
const names = Object.keys(what) as (keyof typeof what)[];

const priceOf = (name: keyof typeof what, unset: string) =>
  Type.Optional(number({ description: `Price of ${what[name]}.`, minimum: 0, unset }));

export const priceSchema = Type.Object(
  {
    currency: text({
      description: 'What prices are in: a word that is shown beside them.',
      default: 'USD',
      pattern: '^\\S{1,20}$',
    }),
    ...Object.fromEntries(names.map((name) => [name, priceOf(name, 'nothing')])),
  },
  {
    additionalProperties: false,
    description: 'What origins charge, for `primed job load --plan`. Without any price a plan names none.',
  },
);

/** Beside the settings of an origin. */
export const ufsPrices = Object.fromEntries(
  names.map((name) => [`price_${name}`, priceOf(name, `\`price.${name}\``)]),
) as { [name: string]: ReturnType<typeof priceOf> };

/** Undefined: there is no price at all. */
export function pricesOf({ values, counts }: Draft): PriceTable | undefined {
  const get = (key: string): number | undefined => values.get(key) as number | undefined;
  const general = names.map((name) => [name, get(`price.${name}`)] as const);
  const rows: PriceRow[] = [];
  const row = (prefix: string, of: (name: (typeof names)[number], usual: number) => number): PriceRow => ({
    prefix,
    ...(Object.fromEntries(general.map(([name, usual = 0]) => [name, of(name, usual)])) as Omit<PriceRow, 'prefix'>),
  });
  if (general.some(([, price]) => price !== undefined)) rows.push(row('', (_, usual) => usual));
  for (let at = 0; at < (counts.get('ufs') ?? 0); at += 1) {
    const own = (name: string): number | undefined => get(`ufs[${at}].price_${name}`);
    const prefix = values.get(`ufs[${at}].prefix`) as string;
    if (names.some((name) => own(name) !== undefined)) rows.push(row(prefix, (name, usual) => own(name) ?? usual));
  }
  return rows.length === 0 ? undefined : { currency: values.get('price.currency') as string, rows };
}
