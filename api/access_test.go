package api

import "testing"

func TestEveryRouteHasARule(t *testing.T) {
	for _, row := range routes() {
		how, what := row.may&howFar, row.may&ofWhat
		switch {
		case how == 0 && what == 0 && (row.may == open || row.may == lists || row.may == admins):
		case how != 0 && what != 0 && row.may&^(howFar|ofWhat) == 0:
		default:
			t.Errorf("%s %s has no rule: say who may use it", row.method, row.path)
		}
	}
}
