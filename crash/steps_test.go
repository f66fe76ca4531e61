package crash

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

// A step that is missing in the list would be one that nothing ever dies at.
func TestEveryStepIsListedOnce(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "steps.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var named []Step
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			text, _ := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			named = append(named, Step(text))
		}
		return true
	})
	if listed := Steps(); !slices.Equal(listed, named) || len(named) < 60 {
		t.Errorf("there are %q, and listed %q", named, listed)
	}
}

func TestWithoutAPointNothingHappens(t *testing.T) {
	Point(nil).At(CreateMade)
	var met []Step
	Point(func(s Step) { met = append(met, s) }).At(CreateMade)
	if !slices.Equal(met, []Step{CreateMade}) {
		t.Errorf("the point has met %q", met)
	}
}
