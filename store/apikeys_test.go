package store

import "testing"

func testAPIKeys(t *testing.T, b backing) {
	ctx, st := t.Context(), b.store
	add := func(slot, key string) bool {
		t.Helper()
		return must(st.AddAPIKey(ctx, slot, []byte(key)))(t)
	}
	check := func(want map[string]string) {
		t.Helper()
		got := must(st.APIKeys(ctx))(t)
		if len(got) != len(want) {
			t.Errorf("keys = %q, want %q", got, want)
		}
		for slot, key := range want {
			if string(got[slot]) != key {
				t.Errorf("key in %s = %q, want %q", slot, got[slot], key)
			}
		}
	}
	check(nil)
	if !add("app/1", "a") || !add("app/2", "b") || add("app/1", "c") {
		t.Error("want two slots filled, and a third key refused the first")
	}
	check(map[string]string{"app/1": "a", "app/2": "b"})
	remove := func(slot, key string) {
		t.Helper()
		if err := st.RemoveAPIKey(ctx, slot, []byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	remove("app/1", "b") // not the one there
	remove("app/3", "a")
	check(map[string]string{"app/1": "a", "app/2": "b"})
	remove("app/1", "a")
	check(map[string]string{"app/2": "b"})
}
