package export
import ("testing";"fmt";"context";"math";"github.com/trconvert/trconvert/onnx";"github.com/trconvert/trconvert/internal/quant")
func TestZZ(t *testing.T){
 for _,f:=range []string{"h.float32","fsdd.t.float32","moving.t.float32"} {
  m,err:=onnx.OpenFile(context.Background(),"/tmp/wtq-out/"+f+".onnx",onnx.OpenOptions{}); if err!=nil{t.Fatal(err)}
  s := &storing{patch: onnx.NewPatch(m), model: m, index: onnx.NewIndex(m), storage: Int8}
  for _,h:=range s.candidates(){
   a,_:=h.tensor.Array(); x:=a.Data.([]float32)
   if len(x)<60 {continue}
   fmt.Print(f," ",h.name," ",a.Dims)
   rel:=func(r quant.Run) (float64,int) { c:=r.Channels(a.Dims); q:=c.Quantize(x); var d,n float64; for i,v:=range q.Floats(){ e:=float64(v)-float64(x[i]); d+=e*e; n+=float64(x[i])*float64(x[i])}; return math.Sqrt(d/n), 4*c.Count}
   e,_:=rel(quant.Run{}); fmt.Printf(" tensor %.4f",e)
   for k:=range a.Dims{ if a.Dims[k]>1 {e,b:=rel(quant.Run{k,k+1}); fmt.Printf(" axis%d %.4f (+%dB, eq %.4f)",k,e,b,e*math.Exp2(32*float64(b/4-1)/float64(len(x))))}}
   r,_,_:=quant.Choose(x,a.Dims); fmt.Println(" ->",r)
  }
 }
}
