/** The version of package.json, put in by the bundler and by vitest. */
declare const PRIMED_VERSION: string;
