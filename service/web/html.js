// The one place where htm and Preact meet.

import htm from './vendor/htm.mjs';
import { h } from './vendor/preact.mjs';

export { Fragment, render } from './vendor/preact.mjs';
export { useCallback, useEffect, useErrorBoundary, useId, useLayoutEffect, useMemo, useRef, useState } from './vendor/hooks.mjs';

/** Markup as a tagged template. What is put into it becomes text or an attribute, never markup. */
export const html = htm.bind(h);
